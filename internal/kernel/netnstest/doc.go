// Package netnstest gives tests network namespaces, and runs programs in them.
package netnstest
