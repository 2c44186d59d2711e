//! The one form of `Range` that is understood: one range of bytes.

use axum::http::{HeaderMap, header};

use crate::problem::{Code, Problem};

/// The range of bytes asked for, as first and last; absent if all are wanted.
///
/// # Errors
/// Several ranges, or something else than bytes.
pub(crate) fn range(headers: &HeaderMap) -> Result<Option<(u64, Option<u64>)>, Problem> {
    let Some(value) = headers.get(header::RANGE) else { return Ok(None) };
    let parse = || {
        let (from, to) = value.to_str().ok()?.trim().strip_prefix("bytes=")?.split_once('-')?;
        let from: u64 = from.parse().ok()?;
        match to {
            "" => Some((from, None)),
            to => to.parse().ok().filter(|to| *to >= from).map(|to| (from, Some(to))),
        }
    };
    parse().map(Some).ok_or_else(|| {
        Problem::new(Code::BadRequest, "only one range, as `bytes=FROM-` or `bytes=FROM-TO`")
            .at("Range")
    })
}
