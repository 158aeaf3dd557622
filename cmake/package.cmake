# What `cmake --install` puts where a package would: the tool, the preload library beside the libraries (not among
# them: nobody links it), the library with its CMake package and pkg-config file.
include(CMakePackageConfigHelpers)

install(TARGETS coldpress-tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS coldpress-preload LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/coldpress)
install(TARGETS coldpress EXPORT coldpress LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/coldpress DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/coldpress)
install(EXPORT coldpress NAMESPACE coldpress:: FILE coldpressConfig.cmake DESTINATION ${package_dir})
write_basic_package_version_file(coldpressConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/coldpressConfigVersion.cmake DESTINATION ${package_dir})

configure_file(cmake/coldpress.pc.in coldpress.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/coldpress.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
