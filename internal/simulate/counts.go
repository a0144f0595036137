package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Counts are numbers by name. The zero value is ready for use.
type Counts struct{ by map[string]int64 }

// Add counts n of name.
func (c *Counts) Add(name string, n int64) {
	if n == 0 {
		return
	}
	if c.by == nil {
		c.by = map[string]int64{}
	}
	c.by[name] += n
}

// Of returns the number of name.
func (c *Counts) Of(name string) int64 { return c.by[name] }

// AddAll counts all that other has.
func (c *Counts) AddAll(other *Counts) {
	for _, name := range other.Names() {
		c.Add(name, other.by[name])
	}
}

// Names returns what has been counted, sorted.
func (c *Counts) Names() []string { return slices.Sorted(maps.Keys(c.by)) }

// Total returns the sum.
func (c *Counts) Total() (n int64) {
	for _, v := range c.by {
		n += v
	}
	return n
}

// String lists the numbers, sorted by name.
func (c *Counts) String() string {
	var b strings.Builder
	for i, name := range c.Names() {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", name, c.by[name])
	}
	return b.String()
}
