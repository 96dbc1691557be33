# SPDX-License-Identifier: Apache-2.0

# Reads CHAINRULE_VERSION (for project()) from the header that programs see.
set(_chainrule_version_header ${CMAKE_CURRENT_LIST_DIR}/../core/include/chainrule/core/version.hpp)
set_property(
  DIRECTORY
  APPEND
  PROPERTY CMAKE_CONFIGURE_DEPENDS ${_chainrule_version_header})
set(CHAINRULE_VERSION "")
foreach(_chainrule_part IN ITEMS MAJOR MINOR PATCH)
  file(STRINGS ${_chainrule_version_header} _chainrule_line
       REGEX "^#define CHAINRULE_VERSION_${_chainrule_part} [0-9]+$")
  string(REGEX MATCH "[0-9]+$" _chainrule_number "${_chainrule_line}")
  list(APPEND CHAINRULE_VERSION ${_chainrule_number})
endforeach()
list(JOIN CHAINRULE_VERSION "." CHAINRULE_VERSION)
