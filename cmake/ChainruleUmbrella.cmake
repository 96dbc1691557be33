# SPDX-License-Identifier: Apache-2.0

# chainrule::chainrule: every component, and <chainrule/chainrule.hpp>, which includes every public
# header that needs no other library's; generated, so that it cannot miss one.
get_property(_chainrule_components GLOBAL PROPERTY CHAINRULE_COMPONENTS)
get_property(_chainrule_include_dirs GLOBAL PROPERTY CHAINRULE_INCLUDE_DIRS)

set(CHAINRULE_PUBLIC_HEADERS "")
foreach(_chainrule_dir IN LISTS _chainrule_include_dirs)
  file(
    GLOB_RECURSE _chainrule_headers
    LIST_DIRECTORIES false
    RELATIVE ${_chainrule_dir}
    CONFIGURE_DEPENDS ${_chainrule_dir}/*.hpp)
  list(FILTER _chainrule_headers EXCLUDE REGEX "/(tbb_arena|gtest)\\.hpp$")
  list(SORT _chainrule_headers)
  list(APPEND CHAINRULE_PUBLIC_HEADERS ${_chainrule_headers})
endforeach()
list(TRANSFORM CHAINRULE_PUBLIC_HEADERS PREPEND "#include \"" OUTPUT_VARIABLE CHAINRULE_INCLUDES)
list(TRANSFORM CHAINRULE_INCLUDES APPEND "\"")
list(JOIN CHAINRULE_INCLUDES "\n" CHAINRULE_INCLUDES)

set(CHAINRULE_UMBRELLA_DIR ${PROJECT_BINARY_DIR}/include)
configure_file(${CMAKE_CURRENT_LIST_DIR}/chainrule.hpp.in
               ${CHAINRULE_UMBRELLA_DIR}/chainrule/chainrule.hpp @ONLY)

add_library(chainrule_all INTERFACE)
add_library(chainrule::chainrule ALIAS chainrule_all)
set_target_properties(chainrule_all PROPERTIES EXPORT_NAME chainrule)
target_include_directories(
  chainrule_all INTERFACE $<BUILD_INTERFACE:${CHAINRULE_UMBRELLA_DIR}>
                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
list(TRANSFORM _chainrule_components PREPEND "chainrule_" OUTPUT_VARIABLE _chainrule_targets)
target_link_libraries(chainrule_all INTERFACE ${_chainrule_targets})
