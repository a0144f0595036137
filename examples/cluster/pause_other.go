//go:build !unix

package main

// pauses are for systems that have SIGSTOP.
var pauses []kind
