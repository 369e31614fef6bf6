#pragma once
#include <ATen/core/Generator.h>

namespace nbit {

/** Generators made by JavaScript, by id; 0 is "none". */
at::Generator& generatorAt(double id);

/** A copy of a generator's stream. */
at::Generator copyOf(at::Generator from);
/** `to` goes on as `from` does. In place, so that whoever has `to` draws from it. */
void continueAs(at::Generator& to, at::Generator from);

/** What this thread draws from where nothing else is said; null: what the whole process draws from (threads.cc). */
at::Generator* ownGenerator();
/** What JavaScript of this thread knows as the CPU's default generator is now this one. */
void replaceDefaultGenerators(const at::Generator& own);

}  // namespace nbit
