package control

import "time"

// mostHeld is how much of a node's silence, in sessions, may be put down to the controller itself.
const mostHeld = 3

// Held says that the active controller itself did nothing for d, held up by its disk or its processor: it could not hear anybody, so nobody's silence
// counts for as long. What came meanwhile it hears next, so whoever is up is heard between two times: a controller that is held up again and again, which
// only happens where nobody can take over, forgives a node that stays silent mostHeld sessions, or the longest time, and no more.
func (w *Watch) Held(d time.Duration) {
	for _, s := range w.sessions {
		forgiven := min(d, max(0, max(mostHeld*w.cfg.Session, d)-s.forgiven))
		s.heard += forgiven
		s.forgiven += forgiven
	}
}
