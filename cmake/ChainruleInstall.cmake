# SPDX-License-Identifier: Apache-2.0
include(CMakePackageConfigHelpers)

get_property(_chainrule_components GLOBAL PROPERTY CHAINRULE_COMPONENTS)
get_property(_chainrule_include_dirs GLOBAL PROPERTY CHAINRULE_INCLUDE_DIRS)
set(_chainrule_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/chainrule)

# Libraries and headers.
list(TRANSFORM _chainrule_components PREPEND "chainrule_" OUTPUT_VARIABLE _chainrule_targets)
install(TARGETS ${_chainrule_targets} chainrule_all EXPORT chainruleTargets)
foreach(_chainrule_dir IN LISTS _chainrule_include_dirs)
  install(
    DIRECTORY ${_chainrule_dir}/chainrule
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING
    PATTERN "*.hpp")
endforeach()
install(FILES ${CHAINRULE_UMBRELLA_DIR}/chainrule/chainrule.hpp
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/chainrule)

# find_package(chainrule CONFIG)
install(
  EXPORT chainruleTargets
  NAMESPACE chainrule::
  DESTINATION ${_chainrule_cmake_dir})
if(BUILD_SHARED_LIBS)
  set(CHAINRULE_IS_STATIC OFF)
else()
  set(CHAINRULE_IS_STATIC ON)
endif()
configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/chainruleConfig.cmake.in ${PROJECT_BINARY_DIR}/chainruleConfig.cmake
  INSTALL_DESTINATION ${_chainrule_cmake_dir})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/chainruleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(
  FILES ${PROJECT_BINARY_DIR}/chainruleConfig.cmake
        ${PROJECT_BINARY_DIR}/chainruleConfigVersion.cmake
        ${CMAKE_CURRENT_LIST_DIR}/FindChainruleOpenBLAS.cmake
  DESTINATION ${_chainrule_cmake_dir})

# pkg-config: every component; the linker wants users before what they use.
set(_chainrule_libraries ${_chainrule_components})
list(REVERSE _chainrule_libraries)
list(TRANSFORM _chainrule_libraries PREPEND "-lchainrule_")
list(JOIN _chainrule_libraries " " CHAINRULE_PC_LIBRARIES)
cmake_path(GET ChainruleOpenBLAS_LIBRARY PARENT_PATH CHAINRULE_PC_OPENBLAS_DIR)
cmake_path(GET ChainruleOpenBLAS_LIBRARY STEM CHAINRULE_PC_OPENBLAS)
string(REGEX REPLACE "^lib" "" CHAINRULE_PC_OPENBLAS ${CHAINRULE_PC_OPENBLAS})
# Static libraries do not bring what they need, and nobody should have to say --static for them.
set(_chainrule_needed "-L${CHAINRULE_PC_OPENBLAS_DIR} -l${CHAINRULE_PC_OPENBLAS} -pthread")
if(BUILD_SHARED_LIBS)
  set(CHAINRULE_PC_LIBS "\nLibs.private: ${_chainrule_needed}")
  set(CHAINRULE_PC_PRIVATE .private)
else()
  set(CHAINRULE_PC_LIBS " ${_chainrule_needed}")
  set(CHAINRULE_PC_PRIVATE "")
endif()
# Relative to the file, so that the tree may move.
cmake_path(
  RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
  OUTPUT_VARIABLE CHAINRULE_PC_PREFIX)
foreach(_chainrule_dir IN ITEMS LIBDIR INCLUDEDIR)
  cmake_path(
    ABSOLUTE_PATH CMAKE_INSTALL_${_chainrule_dir} BASE_DIRECTORY "\${prefix}"
    OUTPUT_VARIABLE CHAINRULE_PC_${_chainrule_dir})
endforeach()
configure_file(${CMAKE_CURRENT_LIST_DIR}/chainrule.pc.in ${PROJECT_BINARY_DIR}/chainrule.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/chainrule.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The command finds shared libraries beside itself, wherever the tree is put.
if(TARGET chainrule_tool)
  install(TARGETS chainrule_tool)
  if(BUILD_SHARED_LIBS AND NOT DEFINED CMAKE_INSTALL_RPATH)
    cmake_path(
      RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_FULL_BINDIR}
      OUTPUT_VARIABLE _chainrule_libdir)
    set_target_properties(chainrule_tool PROPERTIES INSTALL_RPATH "$ORIGIN/${_chainrule_libdir}")
  endif()
endif()
