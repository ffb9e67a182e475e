package e2e

import (
	"context"

	"bothways/internal/lab/world"
)

type (
	worldOf   = world.World
	contextOf = context.Context
)
