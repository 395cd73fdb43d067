// Written by web/build.mjs.
[
    ("app-729bce27a3fc.js", include_bytes!("assets/app-729bce27a3fc.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
