//! placeholder
#![cfg_attr(not(test), no_std)]
#![allow(unsafe_code)]
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
