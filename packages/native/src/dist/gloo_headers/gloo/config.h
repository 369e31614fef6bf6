// See algorithm.h: declarations only.
#pragma once
