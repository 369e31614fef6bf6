// libtorch holds gloo but ships none of its headers, and ProcessGroupGloo.hpp includes five. What that header needs of
// them is declared here; libtorch defines it. Nothing of gloo is laid out or called by this addon.
#pragma once
