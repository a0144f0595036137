package main

import (
	"fmt"
	"os/exec"
)

// network is what the nodes reach each other by, and what can be cut.
type network interface {
	// listen is where node i listens.
	listen(i int) string
	// book is what node i is told of the others.
	book(i int) []neighbour
	// command starts this program as node i.
	command(self string, i int) *exec.Cmd
	// cut stops, or lets go on, what others say to node i, and what it says to them.
	cut(i int, in, out bool) error
	close()
}

// neighbour is another node as a node is told of it: where it listens, and what is dialled to reach it.
type neighbour struct {
	ID             int32
	Address, Dials string
}

// newNetwork makes the network of a kind: wires, or namespaces.
func newNetwork(kind string) (network, error) {
	switch kind {
	case "wires":
		return newWires()
	case "namespaces":
		return newNamespaces()
	}
	return nil, fmt.Errorf("-network %s: neither wires nor namespaces", kind)
}
