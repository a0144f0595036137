package simulate

import "slices"

// Shrink returns a part of s that still fails, of which no piece could be left out: delta debugging (Zeller), from halves down
// to single actions. fails runs a schedule and says whether it fails in the same way; s itself must. It gives up looking further after runs
// calls of it.
func Shrink(s Schedule, runs int, fails func(Schedule) bool) (least Schedule, used int) {
	least = slices.Clone(s)
	try := func(candidate Schedule) bool {
		if used >= runs {
			return false
		}
		used++
		return fails(candidate)
	}
	// What came after the failure had no part in it.
	low, high := 0, len(least)
	for low < high {
		if m := (low + high) / 2; try(slices.Clone(least[:m])) {
			high = m
		} else {
			low = m + 1
		}
	}
	if high < len(least) {
		least = least[:high:high]
	}
	for _, kind := range kinds(least) { // whole kinds first: there are few
		if candidate := without(least, kind); len(candidate) < len(least) && try(candidate) {
			least = candidate
		}
	}
	for size := (len(least) + 1) / 2; size > 0; {
		smaller := false
		for at := 0; at < len(least); {
			end := min(at+size, len(least))
			candidate := slices.Concat(least[:at], least[end:])
			if try(candidate) {
				least, smaller = candidate, true
				continue
			}
			at = end
		}
		if used >= runs {
			break
		}
		if size == 1 && !smaller {
			break
		}
		size = max(size/2, 1)
	}
	return least, used
}

func kinds(s Schedule) (list []string) {
	for _, a := range s {
		if !slices.Contains(list, a.Kind) {
			list = append(list, a.Kind)
		}
	}
	return list
}

func without(s Schedule, kind string) Schedule {
	return slices.DeleteFunc(slices.Clone(s), func(a Action) bool { return a.Kind == kind })
}
