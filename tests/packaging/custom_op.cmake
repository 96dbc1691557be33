# SPDX-License-Identifier: Apache-2.0
#
# cmake -D COMPILER=... -D EXAMPLE=examples/custom_op -D PREFIX=install -D WORK=dir -P custom_op.cmake
#
# The example of an op outside the library is a project of its own: builds it against an install and
# runs its test.
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} -S ${EXAMPLE} -B ${WORK} -G Ninja -D CMAKE_CXX_COMPILER=${COMPILER} -D
    CMAKE_PREFIX_PATH=${PREFIX})
run(${CMAKE_COMMAND} --build ${WORK})
run(${CMAKE_CTEST_COMMAND} --test-dir ${WORK} --output-on-failure --no-tests=error)
expect_output("100% tests passed, 0 tests failed out of 1")
