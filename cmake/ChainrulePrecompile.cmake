# SPDX-License-Identifier: Apache-2.0

# chainrule_precompile(TARGET [SHARED_AS name] <header>...)
#
# The large headers of other libraries that most sources of a target include. Targets of one SHARED_AS
# name have the same compiler flags and headers, and precompile them once. Sources include what they
# use all the same: the clang preset precompiles nothing and would tell.
function(chainrule_precompile target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SHARED_AS" "")
  if(NOT CHAINRULE_PRECOMPILE_HEADERS)
    return()
  endif()
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)  # for ccache
  if(arg_SHARED_AS)
    get_property(first GLOBAL PROPERTY CHAINRULE_PRECOMPILED_${arg_SHARED_AS})
    if(first)
      target_precompile_headers(${target} REUSE_FROM ${first})
      return()
    endif()
    set_property(GLOBAL PROPERTY CHAINRULE_PRECOMPILED_${arg_SHARED_AS} ${target})
  endif()
  target_precompile_headers(${target} PRIVATE ${arg_UNPARSED_ARGUMENTS})
endfunction()
