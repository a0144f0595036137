package peer

import "golang.org/x/sys/windows"

// errRefused is what the system says of an address at which nobody listens.
const errRefused = windows.WSAECONNREFUSED
