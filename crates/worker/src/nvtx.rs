//! The switch and the marks of NVIDIA's profilers: `cuProfilerStart` and NVTX ranges.
//!
//! NVTX has no library of its own any more: a program has the few tables that a tool writes its functions into (NVTX 3,
//! `nvtxTypes.h` and `nvtxInit.h`). The tool is a library; Nsight Systems and Nsight Compute name it in `NVTX_INJECTION64_PATH` of
//! the programs that they start. Here are those tables, so that ranges need neither NVIDIA's headers nor a package.

use std::ffi::{CString, OsString, c_char, c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::os::unix::Library;
use machine::gpu::CudaDriver;

/// Names the tool's library.
const INJECTION: &str = "NVTX_INJECTION64_PATH";
/// The tool's one function.
const INITIALIZE: &[u8] = b"InitializeInjectionNvtx2";
const VERSION: u32 = 3;

/// Numbers of functions of each module (`NVTX_CB_MODULE_…`), the unused 0 included.
const MODULES: [usize; 7] = [0, 16, 9, 15, 7, 16, 7];
const CORE: usize = 1;
/// `NVTX_CBID_CORE_RangePushA`
const RANGE_PUSH: usize = 9;
/// `NVTX_CBID_CORE_RangePop`
const RANGE_POP: usize = 11;

/// What marks a stretch of a program for a profiler.
pub(crate) trait Marker {
    /// Starts recording in profilers.
    fn start(&mut self);
    /// Stops recording in profilers.
    fn stop(&mut self);
    /// Begins a range.
    fn push(&mut self, name: &str);
    /// Ends the last range.
    fn pop(&mut self);
}

/// NVIDIA's profilers, as far as they are attached to this process.
pub(crate) struct Profilers {
    ranges: Option<Ranges>,
    switch: Option<Switch>,
    /// What is missing, and what did not work.
    pub(crate) notes: Vec<String>,
}

impl Profilers {
    /// Looks for them.
    pub(crate) fn find() -> Self {
        let (ranges, switch) = (Ranges::attached(), Switch::open());
        let notes = ranges.as_ref().err().into_iter().chain(switch.as_ref().err()).cloned().collect();
        Self { ranges: ranges.ok(), switch: switch.ok(), notes }
    }

    /// 0 is success (`CUresult`).
    fn check(&mut self, call: &str, code: Option<c_int>) {
        if let Some(code) = code.filter(|code| *code != 0) {
            self.notes.push(format!("{call} failed with error {code}: no profiler records this"));
        }
    }
}

impl Marker for Profilers {
    fn start(&mut self) {
        // SAFETY: the function takes nothing.
        let code = self.switch.as_ref().map(|switch| unsafe { (switch.start)() });
        self.check("cuProfilerStart", code);
    }

    fn stop(&mut self) {
        // SAFETY: the function takes nothing.
        let code = self.switch.as_ref().map(|switch| unsafe { (switch.stop)() });
        self.check("cuProfilerStop", code);
    }

    fn push(&mut self, name: &str) {
        if let Some(ranges) = &self.ranges {
            ranges.push(name);
        }
    }

    fn pop(&mut self) {
        if let Some(ranges) = &self.ranges {
            ranges.pop();
        }
    }
}

/// `cuProfilerStart` and `cuProfilerStop` of the driver.
struct Switch {
    start: unsafe extern "C" fn() -> c_int,
    stop: unsafe extern "C" fn() -> c_int,
}

impl Switch {
    fn open() -> Result<Self, String> {
        let absent = |error: libloading::Error| {
            format!("no CUDA driver, so no profiler is switched on: {}", one_line(&error))
        };
        let driver = CudaDriver::open().map_err(absent)?;
        // SAFETY: the functions have these signatures in the CUDA driver API.
        unsafe {
            let start = driver.function("cuProfilerStart").map_err(absent)?;
            let stop = driver.function("cuProfilerStop").map_err(absent)?;
            Ok(Self { start, stop })
        }
    }
}

type GetExportTable = extern "C" fn(u32) -> *const c_void;
type Initialize = unsafe extern "C" fn(GetExportTable) -> c_int;

/// A place that a tool writes a function's address to.
type FunctionSlot = AtomicPtr<c_void>;

/// A module's slots by the functions' numbers. Behind the last stands a null, as in NVTX.
struct SlotTable(Vec<*mut FunctionSlot>);

/// The tables of this process; a tool may write to them at any time.
struct Tables([SlotTable; MODULES.len()]);

// SAFETY: the pointers are to atomics that are never freed.
unsafe impl Send for Tables {}
// SAFETY: see above.
unsafe impl Sync for Tables {}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        Tables(MODULES.map(|functions| {
            let slot = |number| match number {
                0 => null_mut(),
                _ if number == functions => null_mut(),
                _ => Box::into_raw(Box::new(FunctionSlot::new(null_mut()))),
            };
            SlotTable((0..=functions).map(slot).collect())
        }))
    })
}

/// `NvtxExportTableCallbacks`
#[repr(C)]
struct Callbacks {
    size: usize,
    get_module_function_table: extern "C" fn(c_uint, *mut *const *mut FunctionSlot, *mut c_uint) -> c_int,
}

/// `NvtxExportTableVersionInfo`
#[repr(C)]
struct VersionInfo {
    size: usize,
    version: u32,
    reserved: u32,
    set_injection_version: extern "C" fn(u32),
}

extern "C" fn get_export_table(id: u32) -> *const c_void {
    static CALLBACKS: Callbacks = Callbacks { size: size_of::<Callbacks>(), get_module_function_table };
    static VERSION_INFO: VersionInfo =
        VersionInfo { size: size_of::<VersionInfo>(), version: VERSION, reserved: 0, set_injection_version };
    match id {
        1 => (&raw const CALLBACKS).cast(),
        3 => (&raw const VERSION_INFO).cast(),
        _ => std::ptr::null(),
    }
}

extern "C" fn get_module_function_table(
    module: c_uint,
    table: *mut *const *mut FunctionSlot,
    size: *mut c_uint,
) -> c_int {
    let Some(found) = tables().0.get(module as usize).filter(|_| module != 0) else { return 0 };
    // SAFETY: the tool gives places to write to, or null.
    unsafe {
        if !size.is_null() {
            *size = (found.0.len() - 1) as c_uint;
        }
        if !table.is_null() {
            *table = found.0.as_ptr();
        }
    }
    1
}

extern "C" fn set_injection_version(_: u32) {}

/// NVTX, with a tool attached.
struct Ranges;

impl Ranges {
    /// Attaches the tool that this process was started by, once.
    fn attached() -> Result<Self, String> {
        static ATTACHED: OnceLock<Result<(), String>> = OnceLock::new();
        ATTACHED.get_or_init(|| attach(std::env::var_os(INJECTION))).clone().map(|()| Self)
    }

    fn function(&self, number: usize) -> Option<*mut c_void> {
        let slot = tables().0[CORE].0[number];
        // SAFETY: slots of functions are never null, and never freed.
        let function = unsafe { (*slot).load(Ordering::Acquire) };
        (!function.is_null()).then_some(function)
    }

    fn push(&self, name: &str) {
        let (Some(push), Ok(name)) = (self.function(RANGE_PUSH), CString::new(name)) else { return };
        // SAFETY: the tool wrote a function of this signature to that slot.
        unsafe {
            let push: unsafe extern "C" fn(*const c_char) -> c_int = std::mem::transmute(push);
            push(name.as_ptr());
        }
    }

    fn pop(&self) {
        let Some(pop) = self.function(RANGE_POP) else { return };
        // SAFETY: the tool wrote a function of this signature to that slot.
        unsafe {
            let pop: unsafe extern "C" fn() -> c_int = std::mem::transmute(pop);
            pop();
        }
    }
}

fn attach(path: Option<OsString>) -> Result<(), String> {
    let Some(path) = path else {
        return Err(format!("no tool takes NVTX ranges: {INJECTION} is not set, as nsys and ncu do"));
    };
    let unusable = |error: libloading::Error| {
        format!("no tool takes NVTX ranges: {INJECTION}={}: {}", path.display(), one_line(&error))
    };
    // SAFETY: the user, or the profiler that they started this with, has named the library. It is never closed: it may have
    // threads.
    let tool = ManuallyDrop::new(unsafe { Library::new(&path) }.map_err(unusable)?);
    // SAFETY: this is the function's signature in NVTX 3.
    let initialize = unsafe { tool.get::<Initialize>(INITIALIZE) }.map_err(unusable)?;
    initialize_tool(*initialize)
        .map_err(|why| format!("no tool takes NVTX ranges: {INJECTION}={}: {why}", path.display()))
}

fn initialize_tool(initialize: Initialize) -> Result<(), &'static str> {
    // SAFETY: the tool gets what NVTX would give it.
    let accepted = unsafe { initialize(get_export_table) } != 0;
    accepted.then_some(()).ok_or("it refuses to be attached")
}

/// The loader's own words.
fn one_line(error: &libloading::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), ToString::to_string).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::sync::Mutex;

    use super::*;

    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

    extern "C" fn push(name: *const c_char) -> c_int {
        // SAFETY: NVTX gives a string.
        let name = unsafe { CStr::from_ptr(name) };
        HEARD.lock().unwrap().push(name.to_string_lossy().into_owned());
        0
    }

    extern "C" fn pop() -> c_int {
        HEARD.lock().unwrap().push("pop".into());
        0
    }

    /// What a tool does (NVTX's own example of one), in the order of `nvtxTypes.h`.
    unsafe extern "C" fn tool(get_export_table: GetExportTable) -> c_int {
        let sizes = |module: c_uint| {
            // SAFETY: the table has this type.
            let callbacks = unsafe { &*get_export_table(1).cast::<Callbacks>() };
            assert_eq!(callbacks.size, 16);
            let (mut table, mut size) = (std::ptr::null(), 0);
            let is_known = (callbacks.get_module_function_table)(module, &raw mut table, &raw mut size);
            (is_known, table, size)
        };
        for (module, functions) in [(1, 16), (2, 9), (3, 15), (4, 7), (5, 16), (6, 7)] {
            let (is_known, table, size) = sizes(module);
            assert_eq!((is_known, size), (1, functions), "module {module}");
            // SAFETY: it has so many entries, and one more.
            let entries = unsafe { std::slice::from_raw_parts(table, size as usize + 1) };
            let is_null: Vec<bool> = entries.iter().map(|slot| slot.is_null()).collect();
            assert_eq!(is_null.iter().filter(|is_null| **is_null).count(), 2);
            assert!(is_null[0] && is_null[size as usize]);
        }
        assert_eq!((sizes(0).0, sizes(7).0), (0, 0));
        // SAFETY: the table has this type.
        assert_eq!(unsafe { &*get_export_table(3).cast::<VersionInfo>() }.version, 3);
        assert!(get_export_table(2).is_null());
        let (_, core, _) = sizes(1);
        // SAFETY: both are entries of the table.
        unsafe {
            (**core.add(9)).store(push as *mut c_void, Ordering::Release);
            (**core.add(11)).store(pop as *mut c_void, Ordering::Release);
        }
        1
    }

    extern "C" fn refusing(_: GetExportTable) -> c_int {
        0
    }

    #[test]
    fn a_tool_gets_the_ranges() {
        // Without a tool nothing is called.
        Ranges.push("nobody hears this");
        Ranges.pop();
        initialize_tool(tool).unwrap();
        Ranges.push("prefill 1x256");
        Ranges.pop();
        assert_eq!(*HEARD.lock().unwrap(), ["prefill 1x256", "pop"]);
    }

    #[test]
    fn a_tool_that_is_not_there_or_refuses_is_a_note() {
        let note = |path: Option<&str>| attach(path.map(Into::into)).unwrap_err();
        assert!(note(None).contains("NVTX_INJECTION64_PATH is not set"));
        let absent = note(Some("/nowhere/libtool.so"));
        assert!(
            absent.contains("NVTX_INJECTION64_PATH=/nowhere/libtool.so: ") && !absent.contains('\n'),
            "{absent}"
        );
        assert!(note(Some("libc.so.6")).contains("InitializeInjectionNvtx2"));
        assert_eq!(initialize_tool(refusing).unwrap_err(), "it refuses to be attached");
    }
}
