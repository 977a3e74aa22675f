// Errors of C++ as texts for free().
#pragma once

#include <cstring>

#include <c10/util/Exception.h>

template <typename Body>
static char *attempt(Body &&body) noexcept {
    try {
        body();
        return nullptr;
    } catch (const c10::Error &error) {
        return strdup(error.what_without_backtrace());
    } catch (const std::exception &error) {
        return strdup(error.what());
    } catch (...) {
        return strdup("an exception without a text");
    }
}
