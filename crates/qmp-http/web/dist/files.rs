// Written by web/build.mjs.
[
    ("app-cec75001bcaa.js", include_bytes!("assets/app-cec75001bcaa.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
