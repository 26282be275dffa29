//! vim, ImageMagick, Ghostscript and a headless Chromium.

use std::time::Duration;

use crate::catalogue::{CHROMIUM, CONVERT, GHOSTSCRIPT, VIM};
use crate::harness::{Session, compare};
use crate::normal;
use crate::shell::{input, text};

#[test]
fn vim_edits_by_script() {
    compare("vim", &[&VIM], |s| {
        s.write("edit.vim", input("edit.vim"));
        s.write("lines", text(20_000));
        let args = ["-es", "-u", "NONE", "-i", "NONE", "-S", "edit.vim", "lines"];
        let finished = s.run(&VIM, &args);
        finished.stdout();
        s.note_file("edited");
        s.note_file("undone");
        s.note(&s.read("report"));
    });
}

#[test]
fn imagemagick_draws_filters_and_converts() {
    compare("imagemagick", &[&CONVERT], |s| {
        for (number, steps) in [
            "-size 900x700 gradient:navy-gold -blur 0x6 -swirl 90 -resize 60%",
            "-size 400x400 radial-gradient:red-blue -distort SRT 33 -colorspace Lab -channel 0 -equalize \
             -colorspace sRGB",
            "rose: -resize 900% -sharpen 0x3 -rotate 12 -posterize 6",
            "-size 300x300 pattern:checkerboard -wave 12x60 -paint 4 -edge 2 -negate",
            "logo: -quantize LAB -dither None -colors 12 -despeckle",
        ]
        .iter()
        .enumerate()
        {
            let image = format!("image{number}.{}", ["png", "jpg", "gif"][number % 3]);
            let steps = steps.split_whitespace();
            let args: Vec<&str> = steps.chain(["-strip", &image]).collect();
            s.run(&CONVERT, &args).stdout();
            let what = [&image, "-format", "%wx%h %m %k %#", "info:"];
            s.run(&CONVERT, &what).stdout();
        }
        s.run(&CONVERT, &["no-such-file.png", "x.png"]);
    });
}

#[test]
fn ghostscript_renders_and_writes_pdf() {
    compare("ghostscript", &[&GHOSTSCRIPT], |s| {
        s.write("page.ps", input("page.ps"));
        let gs = |s: &mut Session, args: &[&str]| {
            let all = [&["-q", "-dBATCH", "-dNOPAUSE", "-dSAFER"], args].concat();
            s.run(&GHOSTSCRIPT, &all).stdout();
        };
        gs(
            s,
            &[
                "-sDEVICE=png16m",
                "-r120",
                "-sOutputFile=page%d.png",
                "page.ps",
            ],
        );
        s.note_file("page1.png");
        s.note_file("page2.png");
        gs(
            s,
            &["-sDEVICE=pdfwrite", "-sOutputFile=page.pdf", "page.ps"],
        );
        // The PDF names its time of creation; what is drawn from it does not.
        let threads = "-dNumRenderingThreads=4";
        let bands = "-dMaxBitmap=200000";
        let png = "-sOutputFile=pdf%d.png";
        gs(
            s,
            &["-sDEVICE=png16m", "-r150", threads, bands, png, "page.pdf"],
        );
        s.note_file("pdf1.png");
        s.note_file("pdf2.png");
        gs(
            s,
            &["-sDEVICE=txtwrite", "-sOutputFile=page.txt", "page.pdf"],
        );
        s.note(&s.read("page.txt"));
    });
}

#[test]
fn chromium_draws_the_same_page() {
    compare("chromium", &[&CHROMIUM, &CONVERT], |s| {
        s.write("page.html", input("page.html"));
        let page = format!("file://{}", s.file("page.html").display());
        let profile = format!("--user-data-dir={}", s.file("profile").display());
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--disable-crash-reporter",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=800,600",
            "--virtual-time-budget=5000",
            "--screenshot=page.png",
            &profile,
            &page,
        ];
        let process = s.start(s.command(&CHROMIUM, &args));
        let finished = process.wait(Duration::from_secs(120));
        finished.stdout();
        let pixels = ["page.png", "-format", "%wx%h %k colours %#", "info:"];
        let mut look = s.plain_command(CONVERT.path());
        look.args(pixels);
        let looked = s.run_quietly(look);
        let looked = looked.stdout();
        assert!(looked.starts_with("800x600 "), "{looked}");
        assert!(!looked.contains(" 1 colours"), "a blank page: {looked}");
        s.note(&normal::lines(looked, |line| !line.is_empty()));
    });
}
