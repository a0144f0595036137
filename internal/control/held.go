package control

import "time"

// Held says that the active controller itself did nothing for d, held up by its disk or its processor: it could not hear anybody, so nobody's silence
// counts for as long.
func (w *Watch) Held(d time.Duration) {
	for _, s := range w.sessions {
		s.heard += d
	}
}
