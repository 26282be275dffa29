//! Names the library: a program linked with it looks for this name. And keeps it
//! from being unloaded: the kernel and libc know addresses of it for good (a
//! thread's last restartable sequence, the handlers of fork). Its constructor runs
//! before all others: see `runtime.rs`.
//!
//! And lets it touch few pages where a process begins. What the loader writes once and
//! then protects begins a page, and so takes one; the files of the C compiler that
//! begin and end a library are left out, since no C++ object is to be built or torn
//! down here, and their functions would be called.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libthmalloc.so");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,initfirst");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,separate-loadable-segments");
    println!("cargo::rustc-cdylib-link-arg=-nostartfiles");
    println!("cargo::rerun-if-changed=build.rs");
}
