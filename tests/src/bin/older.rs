//! The program of [`heirloom_tests::builds`], in its older build.
#![forbid(unsafe_code)]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    heirloom_tests::builds::main::<heirloom_tests::builds::Older>()
}
