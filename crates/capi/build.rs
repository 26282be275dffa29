//! Names the library: a program linked with it looks for this name.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libthmalloc.so");
    println!("cargo::rerun-if-changed=build.rs");
}
