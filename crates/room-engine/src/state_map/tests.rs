mod corrupt;
mod loading;
mod model;
mod shape;
mod store;
