//! Names the library: a program linked with it looks for this name. And keeps it
//! from being unloaded: the kernel and libc know addresses of it for good (a
//! thread's last restartable sequence, the handlers of fork). Its constructor runs
//! before all others: see `runtime.rs`.

fn main() {
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libthmalloc.so");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,initfirst");
    println!("cargo::rerun-if-changed=build.rs");
}
