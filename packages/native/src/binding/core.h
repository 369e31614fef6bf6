// The ground of the addon: environments, slots of tensors, the shared buffer, errors, and the arguments of its entries.
#pragma once
#include "binding/args.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/message.h"
#include "binding/slots.h"

#include <ATen/core/TensorBody.h>
#include <c10/core/Scalar.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <string>
#include <vector>
