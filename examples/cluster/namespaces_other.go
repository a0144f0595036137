//go:build !linux

package main

import "errors"

var errNoNamespaces = errors.New("network namespaces are Linux's; -network wires works everywhere")

func routed([]string) (int, bool) { return 0, false }

func helper() (int, bool) { return 0, false }

func newNamespaces() (network, error) { return nil, errNoNamespaces }

func namespacesAllowed() error { return errNoNamespaces }
