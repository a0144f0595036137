//go:build mutants

package replica

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

func TestTrace(t *testing.T) {
	seed, _ := strconv.Atoi(os.Getenv("SEED"))
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	var draws []string
	s := newSchedule(t, func(w string, n int) int { v := r.IntN(n); draws = append(draws, fmt.Sprint(w, "=", v)); return v })
	last := ""
	for i := range 150 {
		draws = draws[:0]
		defer func() { fmt.Println(i, draws) }()
		s.step()
		if d := s.c.describe(); d != last {
			fmt.Println(i, draws)
			fmt.Print(d)
			last = d
		}
	}
}
