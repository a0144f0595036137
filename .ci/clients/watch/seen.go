package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

type sighting struct{ key, version int16 }

type counts struct{ asked, answered int64 }

// sightings are the requests of a run.
type sightings struct {
	mu     sync.Mutex
	counts map[sighting]*counts
}

func (s *sightings) asked(x sighting)    { s.add(x, counts{asked: 1}) }
func (s *sightings) answered(x sighting) { s.add(x, counts{answered: 1}) }

func (s *sightings) add(x sighting, n counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[x]
	if c == nil {
		c = &counts{}
		s.counts[x] = c
	}
	c.asked += n.asked
	c.answered += n.answered
}

func (s *sightings) write(file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, x := range slices.SortedFunc(maps.Keys(s.counts), func(a, b sighting) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.version, b.version))
	}) {
		fmt.Fprintf(&b, "%d\t%d\t%d\t%d\n", x.key, x.version, s.counts[x].asked, s.counts[x].answered)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}
