// Package config reads a site's configuration: strict, typed, pure.
//
// Parse takes bytes and returns values that the deciders use, or every error at once, each with file and line, what was
// wanted and what was found. Nothing raw leaves the package, and nothing outside is asked but for the password files,
// through a function that the caller gives. Lint checks the result against what the providers document.
package config
