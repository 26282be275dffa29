//! On thmalloc.

#[global_allocator]
static GLOBAL: thmalloc::ThMalloc = thmalloc::ThMalloc;

fn main() -> std::process::ExitCode {
    peer_globals::main()
}
