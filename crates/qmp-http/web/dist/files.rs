// Written by web/build.mjs.
[
    ("app-ea9d2a5b3fb1.js", include_bytes!("assets/app-ea9d2a5b3fb1.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
