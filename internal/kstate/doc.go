// Package kstate holds the kernel's objects as values: the same type for what should be and for what is.
// Each prints as the ip or nft line that would make it, so that a plan can be read and compared as text.
package kstate
