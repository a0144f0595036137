package simulate

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Action is one thing that is done to a system, or by one of its users: a fault, an operator's command, a client's request. All
// numbers in it are drawn beforehand, so what an action is does not depend on those before it.
type Action struct {
	At    time.Duration // since the world began
	Kind  string        // a word, which whoever carries it out knows
	A, B  int           // whom it is about; as many as the kind needs
	For   time.Duration // how long it lasts
	Force float64       // how strong it is, in [0, 1)
	Draw  uint64        // what is left to chance
}

// String is the action as a line of a schedule's file.
func (a Action) String() string {
	return fmt.Sprintf("%s %s a=%d b=%d for=%s force=%s draw=%d", a.At, a.Kind, a.A, a.B, a.For,
		strconv.FormatFloat(a.Force, 'g', -1, 64), a.Draw)
}

// Schedule is all that is done in a run, in the order of time.
type Schedule []Action

// Sort puts actions in order.
func (s Schedule) Sort() {
	slices.SortStableFunc(s, func(a, b Action) int { return cmp.Compare(a.At, b.At) })
}

// Write writes a schedule as a text file, a line for each action.
func (s Schedule) Write(w io.Writer) error {
	for _, a := range s {
		if _, err := fmt.Fprintln(w, a); err != nil {
			return err
		}
	}
	return nil
}

// ReadSchedule reads what Write has written. Empty lines and those that begin with # are passed over.
func ReadSchedule(r io.Reader) (Schedule, error) {
	var s Schedule
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		a, err := parseAction(line)
		if err != nil {
			return nil, fmt.Errorf("schedule, line %d: %w", n, err)
		}
		s = append(s, a)
	}
	return s, lines.Err()
}

func parseAction(line string) (a Action, err error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return a, fmt.Errorf("%q is not a time and a kind", line)
	}
	if a.At, err = time.ParseDuration(words[0]); err != nil {
		return a, err
	}
	a.Kind = words[1]
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "a":
			a.A, err = strconv.Atoi(value)
		case "b":
			a.B, err = strconv.Atoi(value)
		case "for":
			a.For, err = time.ParseDuration(value)
		case "force":
			a.Force, err = strconv.ParseFloat(value, 64)
		case "draw":
			a.Draw, err = strconv.ParseUint(value, 10, 64)
		default:
			err = fmt.Errorf("unknown %q", word)
		}
		if err != nil {
			return a, err
		}
	}
	return a, nil
}

// Menu is a kind of action that a swarm may draw.
type Menu struct {
	Kind   string
	Every  time.Duration // the mean time between two of them, when the kind is drawn at full strength
	Chance float64       // that a seed has the kind at all; 1: always
	A, B   int           // numbers are drawn below these
	Least  time.Duration // the shortest it lasts; drawn so that short ones are as frequent as long ones
	Most   time.Duration
}

// Swarm draws a schedule from a seed. Each seed has some of the kinds only, each with a rate of its own: many runs with few kinds of
// faults each find more than as many with all of them always (swarm testing).
func Swarm(seed uint64, menu []Menu, from, to time.Duration) Schedule {
	var s Schedule
	for _, m := range menu {
		rng := Stream(seed, "swarm "+m.Kind)
		if rng.Float64() >= m.Chance {
			continue
		}
		rate := 1.0
		if m.Chance < 1 {
			rate = 0.15 + 0.85*rng.Float64()
		}
		for at := from; ; {
			at += time.Duration(rng.ExpFloat64() * float64(m.Every) / rate)
			if at >= to {
				break
			}
			a := Action{At: at.Round(time.Microsecond), Kind: m.Kind, Force: rng.Float64(), Draw: rng.Uint64()}
			if m.A > 0 {
				a.A = rng.IntN(m.A)
			}
			if m.B > 0 {
				a.B = rng.IntN(m.B)
			}
			if m.Most > 0 {
				share := rng.Float64()
				a.For = (m.Least + time.Duration(share*share*share*float64(m.Most-m.Least))).Round(time.Millisecond)
			}
			s = append(s, a)
		}
	}
	s.Sort()
	return s
}
