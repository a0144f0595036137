package vfs

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// EachCrash yields file systems as they may be found after power was lost now, with a label that says what was kept,
// until yield returns false. When there are at most limit combinations it yields each, the one without anything unsynced
// first; otherwise limit of them: that one, the one with everything, and a sample that is the same in every run. Different
// combinations may give the same contents: see Hash. yield may use m; the states are those of the time of the call.
// It reports whether it was exhaustive. It panics if m was not made by NewCrashMem.
func (m *Mem) EachCrash(limit int, yield func(after *Mem, label string) bool) (exhaustive bool) {
	frozen := m.KillClone()
	frozen.mu.Lock()
	defer frozen.mu.Unlock()
	paths := frozen.pathsLocked()
	one := func(c chooser) bool {
		l := &label{paths: paths}
		k := maker{m: frozen, chooser: c, label: l}
		after := k.crash()
		return yield(after, l.String())
	}
	if frozen.combinationsLocked() > float64(limit) {
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range limit {
			var c chooser
			switch i {
			case 0:
				c = extreme(false)
			case 1:
				c = extreme(true)
			default:
				c = &dice{rng: rng, lean: lean(i % int(leans))}
			}
			if !one(c) {
				break
			}
		}
		return false
	}
	for o := (&odometer{}); ; {
		if !one(o) || !o.next() {
			return true
		}
	}
}

// combinationsLocked is how many combinations of choices there are: at least, as some choices are only made when others
// went one way, so the number is an upper bound.
func (m *Mem) combinationsLocked() float64 {
	n := math.Pow(2, float64(len(m.crash.ops)))
	if m.crash.profile == Ext4Like {
		n = float64(len(m.crash.ops) + 1)
	}
	for _, node := range m.crash.unsynced {
		p := node.content.(*paged)
		sum := 0.0
		for _, size := range p.possibleSizes() {
			product := 1.0
			for i := range p.history {
				if h := &p.history[i]; h.index*pageSize < size {
					product *= float64(len(h.possible(at(p.disk, h.index), p.noHole(h.index, m.crash.profile))))
				}
			}
			sum += product
		}
		n *= sum
	}
	return n
}

// extreme keeps nothing, or everything.
type extreme bool

func (e extreme) pick(n int) int {
	if e {
		return n - 1
	}
	return 0
}

// odometer makes every combination of choices, one after the other, where each choice may depend on those before it: it
// repeats the choices of the last time up to the last that can be changed.
type odometer struct {
	digits, radix []int
	at            int
}

func (o *odometer) pick(n int) int {
	if n == 1 {
		return 0
	}
	if o.at == len(o.digits) {
		o.digits, o.radix = append(o.digits, 0), append(o.radix, n)
	}
	o.at++
	return o.digits[o.at-1]
}

// next moves on to the next combination and reports whether there is one.
func (o *odometer) next() bool {
	for o.at > 0 {
		last := o.at - 1
		if o.digits[last]+1 < o.radix[last] {
			o.digits[last]++
			o.digits, o.radix, o.at = o.digits[:o.at], o.radix[:o.at], 0
			return true
		}
		o.at--
	}
	return false
}

// label describes a crash: "names 101; /a/0.log size 4096 p0=2/4 p1=0/2" has kept the first and the third change of
// names, and of that file the second newer state of page 0 of four, and the durable one of page 1. A nil label notes
// nothing.
type label struct {
	strings.Builder
	paths map[*inode]string
	named bool
}

func (l *label) name(kept bool) {
	if l == nil {
		return
	}
	if !l.named {
		l.named = true
		l.WriteString("names ")
	}
	if kept {
		l.WriteByte('1')
	} else {
		l.WriteByte('0')
	}
}

func (l *label) names(kept, all int) {
	if l != nil {
		fmt.Fprintf(l, "names %d of %d", kept, all)
	}
}

func (l *label) file(node *inode, size int64) {
	if l == nil {
		return
	}
	if l.Len() > 0 {
		l.WriteString("; ")
	}
	fmt.Fprintf(l, "%s size %d", l.paths[node], size)
}

func (l *label) page(index int64, state, states int) {
	if l != nil {
		fmt.Fprintf(l, " p%d=%d/%d", index, state, states)
	}
}

// pathsLocked finds a name for every inode, those included that only the disk knows.
func (m *Mem) pathsLocked() map[*inode]string {
	paths := map[*inode]string{}
	var walk func(node *inode, path string)
	walk = func(node *inode, path string) {
		if _, known := paths[node]; known {
			return
		}
		paths[node] = path
		for _, names := range []map[string]*inode{node.entries, node.durable} {
			for _, name := range sortedNames(names) {
				walk(names[name], strings.TrimSuffix(path, "/")+"/"+name)
			}
		}
	}
	walk(m.root, "/")
	return paths
}
