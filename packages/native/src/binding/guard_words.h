// The words of which manifest/guards.json is made. Each takes names of arguments; where a call has none of that name,
// it says nothing.
#pragma once
#include "binding/guards.h"

#include <cstdint>
#include <vector>

namespace nbit::guards {

// ---------------------------------------------------------------- of form: nothing is read from memory
// (guard_forms.cc)
/** Nobody needs it from JavaScript, and it trusts its callers. */
Guard refused(const char* instead);
/** A list with at least one element. */
Guard notEmpty(const char* name);
/** A list of so many elements: kernels read that many. */
Guard length(const char* name, size_t n);
/** Whole numbers from `low` to `high`, alone or in a list. */
Guard within(const char* name, int64_t low, int64_t high);
/** A floating-point number that is finite and above 0. */
Guard positive(const char* name);
/** Every tensor with elements in memory, one after the other or in strides. */
Guard strided();
/** Two tensors of one shape. */
Guard sameShape(const char* name, const char* like);
/** The number of elements of each tensor, where it is given. */
Guard channels(const char* input, std::vector<const char*> names);
/** Statistics that were gathered before, where none are computed now. */
Guard statisticsUnlessTraining();
/** Sizes of the last dimensions as an argument says them. */
Guard lastSizes(const char* name, const char* sizes);
/** The last element of a view lies less than 2^62 bytes after its first: products that overflow would pass the check of
 * bounds. */
Guard reach();
/** Two lists of one length. */
Guard sameLength(const char* name, const char* like);
/** What optimizers' steps go over side by side, where there is no direct call that checks it. */
Guard sideBySide(std::vector<const char*> names);
/** A tensor cut into no more parts than there can be tensors. */
Guard pieces();
/** `native_group_norm` and its backward divide by what `group_norm` has checked. */
Guard groups(const char* input);
/** An integer result would be walked in steps that are rounded to 0. */
Guard wholeSteps();

// ---------------------------------------------------------------- of values: they wait for the tensors' device
// (guard_values.cc)
/** No NaN and no infinity. */
Guard finite(const char* name);
/** Division of the least integer by -1, truncating, has no result in its dtype, and is a trap of the processor. */
Guard quotientFits(const char* left, const char* right);
/** Neither has the least integer, whose magnitude its dtype does not hold. */
Guard notLeast(std::vector<const char*> names);
/** A number, or a tensor of them, whose magnitude is the time that each element takes. */
Guard bounded(const char* name, double most);
/** Elements from `low` to `high`, which is the size of a dimension of another tensor where that is named. */
Guard indicesOf(const char* name, const char* self, int64_t lastDims);
/** Row numbers, from 1, as a factorization gives them. */
Guard pivots();
/** Counts of a binomial distribution: what is not a number is drawn for ever. */
Guard counts(const char* name, const char* probability);

}  // namespace nbit::guards
