//! Making pictures smaller. These functions take processor time: they run on blocking threads, under a limit.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use storage::ThumbnailKey;

use super::MediaError;

/// The sizes of thumbnails, smallest first: the list of the specification. A content has at most one thumbnail of each.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#thumbnails>
const SIZES: [ThumbnailKey; 5] = [cropped(32), cropped(96), scaled(320, 240), scaled(640, 480), LARGEST];
/// The largest of them.
pub(super) const LARGEST: ThumbnailKey = scaled(800, 600);
/// The quality of photographs, of 100.
const JPEG_QUALITY: u8 = 80;
/// The most bytes that a pixel takes: four channels of 16 bits.
const MOST_BYTES_PER_PIXEL: u64 = 8;

/// A request for a thumbnail.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#thumbnails>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThumbnailRequest {
    /// In pixels, at least 1.
    pub width: u32,
    /// In pixels, at least 1.
    pub height: u32,
    /// Whether the picture is cut to the ratio of the two.
    pub is_cropped: bool,
    /// Whether it may be animated: then an animated picture is served unchanged.
    pub may_move: bool,
}

impl ThumbnailRequest {
    /// The first size that is large enough; a scaled size if no cropped one is. `None` if no size is: then the picture is served
    /// unchanged.
    pub(super) fn size(self) -> Option<ThumbnailKey> {
        let is_method = |size: &ThumbnailKey| self.is_cropped || !size.is_cropped;
        let is_enough = |size: &ThumbnailKey| size.width >= self.width && size.height >= self.height;
        SIZES.into_iter().find(|size| is_method(size) && is_enough(size))
    }
}

const fn cropped(side: u32) -> ThumbnailKey {
    ThumbnailKey { width: side, height: side, is_cropped: true }
}

const fn scaled(width: u32, height: u32) -> ThumbnailKey {
    ThumbnailKey { width, height, is_cropped: false }
}

/// The picture for a request.
#[derive(Debug)]
pub(super) enum Picture {
    /// The media is no larger than the size. This is the type in its first bytes.
    AsItIs { content_type: &'static str },
    /// A new picture.
    Made { bytes: Vec<u8>, content_type: &'static str },
}

/// Makes the picture in a file as small as `size`, unless it is already. An animated picture gives its first frame.
pub(super) fn make(path: &Path, size: ThumbnailKey, most_pixels: u64) -> Result<Picture, MediaError> {
    let PictureKind { format, is_animated } = kind_of(path)?;
    let mut reader = ImageReader::with_format(BufReader::new(File::open(path)?), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(most_pixels.saturating_mul(MOST_BYTES_PER_PIXEL));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > most_pixels {
        return Err(MediaError::PictureTooLarge { most_pixels, is_remote: false });
    }
    let orientation = decoder.orientation().map_err(unreadable)?;
    let is_small = |(width, height)| width <= size.width && height <= size.height;
    let turned = if is_upright(orientation) { (width, height) } else { (height, width) };
    if is_small(turned) && !is_animated {
        return Ok(Picture::AsItIs { content_type: format.to_mime_type() });
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    picture.apply_orientation(orientation);
    let picture = fitted(picture, size);
    // JPEG would blur drawings and text.
    let is_exact = matches!(format, ImageFormat::Png | ImageFormat::Gif) || picture.color().has_alpha();
    if is_exact { write_png(&picture) } else { write_jpeg(&picture) }
}

/// The kind of picture in a file, by its first bytes.
pub(super) struct PictureKind {
    format: ImageFormat,
    /// Whether it may have several frames.
    pub(super) is_animated: bool,
}

impl PictureKind {
    pub(super) fn content_type(&self) -> &'static str {
        self.format.to_mime_type()
    }
}

/// The kind of picture in a file. The claim of the uploader does not count.
pub(super) fn kind_of(path: &Path) -> Result<PictureKind, MediaError> {
    let open = || File::open(path).map(BufReader::new);
    let format = ImageReader::new(open()?).with_guessed_format()?.format();
    let format = format.ok_or(MediaError::NotAPicture)?;
    let is_animated = match format {
        ImageFormat::Jpeg => false,
        ImageFormat::Gif => true,
        ImageFormat::Png => is_animated_png(open()?).map_err(unreadable)?,
        ImageFormat::WebP => WebPDecoder::new(open()?).map_err(unreadable)?.has_animation(),
        _ => return Err(MediaError::NotAPicture),
    };
    Ok(PictureKind { format, is_animated })
}

fn is_animated_png(file: impl BufRead + Seek) -> image::ImageResult<bool> {
    PngDecoder::new(file)?.is_apng()
}

fn is_upright(orientation: image::metadata::Orientation) -> bool {
    use image::metadata::Orientation::{FlipHorizontal, FlipVertical, NoTransforms, Rotate180};
    matches!(orientation, NoTransforms | Rotate180 | FlipHorizontal | FlipVertical)
}

fn unreadable(error: image::ImageError) -> MediaError {
    match error {
        image::ImageError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => error.into(),
        error => {
            tracing::debug!(%error, "no thumbnail can be made");
            MediaError::NotAPicture
        }
    }
}

/// The picture in the size, and never larger than it is.
fn fitted(picture: DynamicImage, size: ThumbnailKey) -> DynamicImage {
    let ThumbnailKey { width, height, is_cropped } = size;
    let picture = if is_cropped { cut(&picture, width, height) } else { picture };
    if picture.width() <= width && picture.height() <= height {
        return picture;
    }
    picture.thumbnail(width, height)
}

/// The largest part in the middle that has the ratio of `width` to `height`.
fn cut(picture: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (has_width, has_height) = (u64::from(picture.width()), u64::from(picture.height()));
    let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let (cut_width, cut_height) = if has_width * height > has_height * width {
        ((has_height * width).div_ceil(height), has_height)
    } else {
        (has_width, (has_width * height).div_ceil(width))
    };
    let (cut_width, cut_height) = (cut_width.min(has_width), cut_height.min(has_height));
    let small = |pixels: u64| u32::try_from(pixels).unwrap_or(u32::MAX);
    let (left, top) = ((has_width - cut_width) / 2, (has_height - cut_height) / 2);
    picture.crop_imm(small(left), small(top), small(cut_width), small(cut_height))
}

fn write_png(picture: &DynamicImage) -> Result<Picture, MediaError> {
    let mut bytes = Cursor::new(Vec::new());
    let written = match picture.color().has_alpha() {
        true => picture.to_rgba8().write_to(&mut bytes, ImageFormat::Png),
        false => picture.to_rgb8().write_to(&mut bytes, ImageFormat::Png),
    };
    written.map_err(unreadable)?;
    Ok(Picture::Made { bytes: bytes.into_inner(), content_type: "image/png" })
}

fn write_jpeg(picture: &DynamicImage) -> Result<Picture, MediaError> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    picture.to_rgb8().write_with_encoder(encoder).map_err(unreadable)?;
    Ok(Picture::Made { bytes, content_type: "image/jpeg" })
}

#[cfg(test)]
mod tests {
    use image::{GenericImageView as _, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    const MOST: u64 = 1 << 20;

    fn request(width: u32, height: u32, is_cropped: bool) -> ThumbnailRequest {
        ThumbnailRequest { width, height, is_cropped, may_move: false }
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn written(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Red on the left, blue on the right.
    fn halves(width: u32, height: u32) -> DynamicImage {
        let colour = |x, _| if x < width / 2 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) };
        RgbImage::from_fn(width, height, colour).into()
    }

    fn made(bytes: &[u8], request: ThumbnailRequest) -> Option<(DynamicImage, &'static str)> {
        match make(file(bytes).path(), request.size().unwrap(), MOST).unwrap() {
            Picture::AsItIs { .. } => None,
            Picture::Made { bytes, content_type } => Some((image::load_from_memory(&bytes).unwrap(), content_type)),
        }
    }

    #[test]
    fn a_size_is_the_first_of_the_list_that_is_large_enough() {
        for (asked, made) in [
            (request(1, 1, false), Some(scaled(320, 240))),
            (request(320, 240, false), Some(scaled(320, 240))),
            (request(10, 241, false), Some(scaled(640, 480))),
            (request(800, 600, false), Some(LARGEST)),
            (request(801, 1, false), None),
            (request(1, 601, false), None),
            (request(32, 32, true), Some(cropped(32))),
            (request(33, 33, true), Some(cropped(96))),
            (request(64, 32, true), Some(cropped(96))),
            (request(30, 90, true), Some(cropped(96))),
            (request(97, 1, true), Some(scaled(320, 240))),
            (request(400, 300, true), Some(scaled(640, 480))),
            (request(u32::MAX, 1, true), None),
            (request(1, 800, true), None),
        ] {
            assert_eq!(asked.size(), made, "{asked:?}");
        }
    }

    #[test]
    fn all_requests_together_make_at_most_five_sizes() {
        let sides = (1..=1000).step_by(7);
        let asked = sides.clone().flat_map(|width| sides.clone().map(move |height| (width, height)));
        let requests = asked.flat_map(|(width, height)| [true, false].map(|crop| request(width, height, crop)));
        let made: std::collections::HashSet<_> = requests.filter_map(ThumbnailRequest::size).collect();
        assert_eq!(made, std::collections::HashSet::from(SIZES));
    }

    #[test]
    fn a_picture_is_scaled_to_fit_and_cut_to_the_ratio() {
        for (format, expected) in
            [(ImageFormat::Png, "image/png"), (ImageFormat::Jpeg, "image/jpeg"), (ImageFormat::WebP, "image/jpeg")]
        {
            let large = written(&halves(1000, 500), format);
            let (scaled, content_type) = made(&large, request(320, 240, false)).unwrap();
            assert_eq!((scaled.dimensions(), content_type), ((320, 160), expected));
        }
        let large = written(&halves(1000, 500), ImageFormat::Png);
        let (cut, _) = made(&large, request(96, 96, true)).unwrap();
        assert_eq!(cut.dimensions(), (96, 96));
        let (left, right) = (cut.get_pixel(2, 50), cut.get_pixel(93, 50));
        assert!(left[0] > 200 && left[2] < 50 && right[2] > 200 && right[0] < 50, "{left:?} {right:?}");
        let narrow = written(&halves(40, 1000), ImageFormat::Png);
        let (cut, _) = made(&narrow, request(96, 96, true)).unwrap();
        assert_eq!(cut.dimensions(), (40, 40));
    }

    #[test]
    fn nothing_is_made_larger() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let small = written(&halves(30, 20), format);
            assert!(made(&small, request(32, 32, true)).is_none());
            assert!(made(&small, request(320, 240, false)).is_none());
        }
    }

    #[test]
    fn transparent_places_stay_transparent() {
        let picture = RgbaImage::from_pixel(500, 500, Rgba([10, 20, 30, 0]));
        let (small, content_type) = made(&written(&picture.into(), ImageFormat::WebP), request(96, 96, true)).unwrap();
        assert_eq!((content_type, small.get_pixel(50, 50)[3]), ("image/png", 0));
    }

    #[test]
    fn an_animated_picture_gives_its_first_frame() {
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        for _ in 0..2 {
            encoder.encode_frame(image::Frame::new(halves(20, 20).to_rgba8())).unwrap();
        }
        drop(encoder);
        let (still, _) = made(&bytes, request(32, 32, true)).unwrap();
        assert_eq!(still.dimensions(), (20, 20));
        assert!(kind_of(file(&bytes).path()).unwrap().is_animated);
        assert!(!kind_of(file(&written(&halves(20, 20), ImageFormat::Png)).path()).unwrap().is_animated);
    }

    #[test]
    fn other_content_and_large_pictures_are_refused() {
        let whole = written(&halves(1000, 500), ImageFormat::Png);
        let half = &whole[..whole.len() / 2];
        for bytes in [&b""[..], b"<svg/>", b"\x89PNG\r\n\x1a\n", b"GIF89a", &[0xff, 0xd8, 0xff], half] {
            let error = make(file(bytes).path(), cropped(96), MOST).unwrap_err();
            assert!(matches!(error, MediaError::NotAPicture), "{error:?} of {bytes:?}");
        }
        let error = make(file(&whole).path(), cropped(96), 499_999).unwrap_err();
        assert!(matches!(error, MediaError::PictureTooLarge { .. }), "{error:?}");
    }
}
