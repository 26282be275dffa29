//! Numbers out of bytes that were copied from another process.
//!
//! Always: an offset beyond the end reads as 0, so that no offset needs trust.

/// The `N` bytes at an offset.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    at.checked_add(N)
        .and_then(|end| bytes.get(at..end))
        .and_then(|part| part.try_into().ok())
        .unwrap_or([0; N])
}

/// The `u8` at an offset.
pub fn u8_at(bytes: &[u8], at: usize) -> u8 {
    let [byte] = array(bytes, at);
    byte
}

/// The `u16` at an offset.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

/// The `u32` at an offset.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

/// The `u64` at an offset.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian_and_nothing_is_behind_the_end() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(u8_at(&bytes, 8), 9);
        assert_eq!(u16_at(&bytes, 7), 0x0908);
        assert_eq!(u32_at(&bytes, 1), 0x0504_0302);
        assert_eq!(u64_at(&bytes, 1), 0x0908_0706_0504_0302);
        assert_eq!(u8_at(&bytes, 9), 0);
        assert_eq!(u64_at(&bytes, 2), 0);
        assert_eq!(u32_at(&bytes, usize::MAX), 0);
    }
}
