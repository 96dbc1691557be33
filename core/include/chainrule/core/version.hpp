// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one place that states the version; CMake reads it from here. Releases of one minor version
// are compatible; below 1.0 a new minor version may change anything.
#define CHAINRULE_VERSION_MAJOR 0
#define CHAINRULE_VERSION_MINOR 1
#define CHAINRULE_VERSION_PATCH 0

/// One number to compare with in the preprocessor: 10000 * major + 100 * minor + patch.
#define CHAINRULE_VERSION \
  (CHAINRULE_VERSION_MAJOR * 10000 + CHAINRULE_VERSION_MINOR * 100 + CHAINRULE_VERSION_PATCH)

#define CHAINRULE_INTERNAL_QUOTE(x) #x
#define CHAINRULE_INTERNAL_DOTTED(a, b, c) \
  CHAINRULE_INTERNAL_QUOTE(a) "." CHAINRULE_INTERNAL_QUOTE(b) "." CHAINRULE_INTERNAL_QUOTE(c)

/// "0.1.0".
#define CHAINRULE_VERSION_STRING                                              \
  CHAINRULE_INTERNAL_DOTTED(CHAINRULE_VERSION_MAJOR, CHAINRULE_VERSION_MINOR, \
                            CHAINRULE_VERSION_PATCH)
