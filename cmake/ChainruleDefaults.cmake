# SPDX-License-Identifier: Apache-2.0

# Conveniences of a build of our own; inside another project nothing here happens.
if(NOT PROJECT_IS_TOP_LEVEL)
  return()
endif()

get_property(_chainrule_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT CMAKE_BUILD_TYPE AND NOT _chainrule_multi_config)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(CHAINRULE_CCACHE ccache)
  mark_as_advanced(CHAINRULE_CCACHE)
  if(CHAINRULE_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CHAINRULE_CCACHE})
  endif()
endif()
