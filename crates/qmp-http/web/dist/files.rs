// Written by web/build.mjs.
[
    ("app-9a9ad23612f1.js", include_bytes!("assets/app-9a9ad23612f1.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
