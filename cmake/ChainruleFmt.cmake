# SPDX-License-Identifier: Apache-2.0

# chainrule_fmt: fmt for our own sources, which no consumer sees or needs. Header-only, every source
# file would compile all of fmt (half of the build's time); so we compile it once and put the object
# into each component, in a namespace of ours that cannot clash with the program's own fmt.
if(fmt_VERSION VERSION_LESS 9 OR fmt_VERSION VERSION_GREATER_EQUAL 10)
  add_library(chainrule_fmt INTERFACE)  # fmt.cpp is written for version 9
  target_link_libraries(chainrule_fmt INTERFACE fmt::fmt-header-only)
  return()
endif()

add_library(chainrule_fmt OBJECT ${CMAKE_CURRENT_LIST_DIR}/fmt.cpp)
target_compile_features(chainrule_fmt PRIVATE cxx_std_20)
set_target_properties(
  chainrule_fmt
  PROPERTIES CXX_VISIBILITY_PRESET hidden
             VISIBILITY_INLINES_HIDDEN ON
             POSITION_INDEPENDENT_CODE ON)
target_include_directories(
  chainrule_fmt SYSTEM
  PUBLIC $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
target_compile_definitions(
  chainrule_fmt PUBLIC "FMT_BEGIN_NAMESPACE=namespace fmt { inline namespace chainrule_v9 {"
                       "FMT_END_NAMESPACE=}}")
target_link_libraries(chainrule_fmt PRIVATE chainrule_flags)
