// A statically linked program, into which no library can be loaded. Proves that it is refused.
#include <cstdio>

int main() { std::puts("started"); }
