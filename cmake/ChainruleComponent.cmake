# SPDX-License-Identifier: Apache-2.0
set(CHAINRULE_VERSION_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/chainrule.map)

# chainrule_add_component(NAME SOURCES... [PUBLIC targets...] [PRIVATE targets...])
#
# One floor of the library: target chainrule_NAME, alias chainrule::NAME, headers in include/.
# PRIVATE dependencies reach a static consumer's link line only, never its compile line; wrap
# header-only ones in $<BUILD_INTERFACE:...>, and an installed library does not know of them.
function(chainrule_add_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;PUBLIC;PRIVATE")
  set(target chainrule_${name})
  add_library(${target} ${arg_SOURCES})
  add_library(chainrule::${name} ALIAS ${target})
  set_target_properties(
    ${target}
    PROPERTIES EXPORT_NAME ${name}
               VERSION ${PROJECT_VERSION}
               SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
               CXX_EXTENSIONS OFF
               CXX_VISIBILITY_PRESET hidden
               VISIBILITY_INLINES_HIDDEN ON
               POSITION_INDEPENDENT_CODE ON
               DEFINE_SYMBOL "")
  if(NOT DEFINED CMAKE_INSTALL_RPATH)
    set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN")
  endif()
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_include_directories(
    ${target}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  # Not linked, or a static consumer would have to know the target.
  target_compile_options(
    ${target} PRIVATE $<TARGET_PROPERTY:chainrule_flags,INTERFACE_COMPILE_OPTIONS>)
  target_link_options(${target} PRIVATE
                      $<TARGET_PROPERTY:chainrule_flags,INTERFACE_LINK_OPTIONS>)
  if(BUILD_SHARED_LIBS)
    target_link_options(${target} PRIVATE LINKER:--version-script=${CHAINRULE_VERSION_SCRIPT})
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${CHAINRULE_VERSION_SCRIPT})
  endif()
  set_property(GLOBAL APPEND PROPERTY CHAINRULE_COMPONENTS ${name})
  set_property(GLOBAL APPEND PROPERTY CHAINRULE_INCLUDE_DIRS ${CMAKE_CURRENT_SOURCE_DIR}/include)
endfunction()
