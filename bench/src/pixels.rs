//! From a large drawing to a smooth PNG.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

/// How much larger than the SVG the drawing is.
pub const SCALE: u32 = 6;
/// How many of its pixels, in each direction, become one of the PNG.
const TO_ONE: u32 = 3;

/// Writes a drawing in RGB, `TO_ONE` times smaller.
pub fn write(path: &Path, drawing: &[u8], width: u32, height: u32) -> io::Result<()> {
    let (small, width, height) = smaller(drawing, width, height);
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(&small).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)
}

/// The mean of each square of pixels.
fn smaller(drawing: &[u8], width: u32, height: u32) -> (Vec<u8>, u32, u32) {
    let (across, down) = (width / TO_ONE, height / TO_ONE);
    let row = width as usize * 3;
    let side = TO_ONE as usize;
    let mut small = Vec::with_capacity((across * down * 3) as usize);
    for y in 0..down as usize {
        for x in 0..across as usize {
            for colour in 0..3 {
                let first = y * side * row + x * side * 3 + colour;
                let square = (0..side).flat_map(|dy| (0..side).map(move |dx| dy * row + dx * 3));
                let sum: u32 = square.map(|at| u32::from(drawing[first + at])).sum();
                small.push((sum / (TO_ONE * TO_ONE)) as u8);
            }
        }
    }
    (small, across, down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_becomes_its_mean() {
        // Two squares beside each other: one white, one with a black pixel.
        let mut drawing = vec![255; (TO_ONE * TO_ONE * 2 * 3) as usize];
        let second = (TO_ONE * 3) as usize;
        drawing[second..second + 3].fill(0);
        let (small, width, height) = smaller(&drawing, 2 * TO_ONE, TO_ONE);
        assert_eq!((width, height), (2, 1));
        let mean = (255 * (TO_ONE * TO_ONE - 1) / (TO_ONE * TO_ONE)) as u8;
        assert_eq!(small, [255, 255, 255, mean, mean, mean]);
    }
}
