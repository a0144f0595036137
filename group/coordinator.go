package group

// Start returns the backend's coordinator service, and starts it with c if nobody has.
func Start(b Backend, c CoordinatorConfig) (Coordinators, error) {
	panic("BUG: not built")
}
