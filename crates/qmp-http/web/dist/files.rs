// Written by web/build.mjs.
[
    ("app-e050f433f31c.js", include_bytes!("assets/app-e050f433f31c.js").as_slice()),
    ("app-e21e6d4eb0f0.css", include_bytes!("assets/app-e21e6d4eb0f0.css").as_slice()),
]
