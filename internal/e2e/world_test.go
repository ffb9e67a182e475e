package e2e

import "bothways/internal/lab/world"

type worldOf = world.World
