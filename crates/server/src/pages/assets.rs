//! The files that pages load: style sheets, scripts, icons. They are part of the binary, are served
//! below one address that changes whenever one of them does, and may be kept for ever.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// One file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asset {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// Its content.
    pub(crate) content: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $media_type:literal,)*) => {
        &[$(Asset {
            name: $name,
            media_type: $media_type,
            content: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $name)),
        },)*]
    };
}

const ASSETS: &[Asset] = assets! {
    "tokens.css": "text/css; charset=utf-8",
    "windlass.css": "text/css; charset=utf-8",
    "code.css": "text/css; charset=utf-8",
    "windlass.js": "text/javascript; charset=utf-8",
    "keys.js": "text/javascript; charset=utf-8",
    "palette.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "home.js": "text/javascript; charset=utf-8",
    "files.css": "text/css; charset=utf-8",
    "services.js": "text/javascript; charset=utf-8",
    "files.js": "text/javascript; charset=utf-8",
    "environment.js": "text/javascript; charset=utf-8",
    "terminal.js": "text/javascript; charset=utf-8",
    "screen.js": "text/javascript; charset=utf-8",
    "terminal.css": "text/css; charset=utf-8",
    "change.js": "text/javascript; charset=utf-8",
    "icons.svg": "image/svg+xml",
    "windlass.svg": "image/svg+xml",
};

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in ASSETS {
        hash.update(asset.name);
        hash.update([0]);
        hash.update(asset.content);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

/// What all addresses of assets have in common: changes whenever an asset does.
pub(crate) fn version() -> &'static str {
    &VERSION
}

/// The address of an asset.
pub(crate) fn url(name: &str) -> String {
    format!("/assets/{}/{name}", version())
}

/// The asset of this name.
pub(crate) fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_have_addresses_that_change_with_them() {
        let url = url("windlass.css");
        assert!(url.starts_with("/assets/") && url.ends_with("/windlass.css"), "{url}");
        assert_eq!(version().len(), 12);
        assert_eq!(find("../Cargo.toml").map(|asset| asset.name), None);
    }

    #[test]
    fn scripts_and_styles_name_nothing_outside_of_this_server() {
        for asset in ASSETS.iter().filter(|asset| !asset.media_type.starts_with("image/")) {
            let text = std::str::from_utf8(asset.content).expect("assets are text");
            for outside in ["http://", "https://", "//cdn", "@import", "eval(", "innerHTML"] {
                assert!(!text.contains(outside), "{} has {outside}", asset.name);
            }
        }
    }
}
