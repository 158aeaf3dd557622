# One static library for each part of src/, linked only downward (src/README.md).

add_library(coldpress_flags INTERFACE)
target_compile_options(coldpress_flags INTERFACE
  -Wall -Wextra -Werror -Wno-missing-field-initializers -fno-omit-frame-pointer
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
target_include_directories(coldpress_flags INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
if(COLDPRESS_SCHED)
  target_compile_definitions(coldpress_flags INTERFACE COLDPRESS_SCHED=1)
endif()
if(COLDPRESS_SANITIZE)
  target_compile_options(coldpress_flags INTERFACE
    -fsanitize=${COLDPRESS_SANITIZE} -fno-sanitize-recover=all -fno-sanitize=vptr)  # engine parts have no RTTI
  target_link_options(coldpress_flags INTERFACE -fsanitize=${COLDPRESS_SANITIZE})
endif()

# Engine parts run inside other people's processes: no exceptions, no RTTI, no
# guard variables, nothing visible.
function(coldpress_part name)
  cmake_parse_arguments(PART "" "" "SOURCES;BELOW" ${ARGN})
  add_library(coldpress_${name} STATIC ${PART_SOURCES})
  target_compile_options(coldpress_${name} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti -fno-threadsafe-statics
    -fvisibility=hidden -fvisibility-inlines-hidden>)
  target_link_libraries(coldpress_${name} PUBLIC coldpress_flags ${PART_BELOW})
  if(COLDPRESS_UNITY)  # a part at once: where what is built is tested, not used
    set_target_properties(coldpress_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
  endif()
endfunction()
